"""What the pages look like: the service's name, its colours and its logo, and logos of clients."""
