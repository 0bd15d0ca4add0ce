"""Images that lie in files: pictures, folders, saved data sets, and labels beside them."""
