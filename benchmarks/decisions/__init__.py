"""How often decisions are wrong, and how soon they are taken."""
