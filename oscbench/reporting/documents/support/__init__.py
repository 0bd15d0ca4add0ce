"""What several pages share: tables, forests, and what suites and searches say of themselves."""
