"""Evidence from small models: tokens, packed rows, a proxy model and its trainer."""
