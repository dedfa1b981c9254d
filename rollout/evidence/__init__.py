"""What ticks boxes by itself: one check a function, gathered in `registry`. Run by the sweeper, never by a page."""
