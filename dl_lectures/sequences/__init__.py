"""Models of order: recurrent cells, their scan, and the character language model."""
