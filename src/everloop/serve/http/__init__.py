"""HTTP/1.1 as the server speaks it: connections with bounds and deadlines, and a direct way for hot requests."""
