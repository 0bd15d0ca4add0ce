"""Images with captions: where pairs come from, the contrastive loss, and floors."""
