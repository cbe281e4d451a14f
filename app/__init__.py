"""HTTP and people: the front end, the command line and the client."""
