"""Read models: what pages and the API show of a workspace; they read what runs have left and write nothing."""
