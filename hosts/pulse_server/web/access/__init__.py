"""Pages of who and what gets in, the same for customers and operators: each says where they are and how it is done."""
