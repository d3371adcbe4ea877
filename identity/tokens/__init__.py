"""Access tokens: claims, the one mint, the one gate, and which tokens are still alive."""
