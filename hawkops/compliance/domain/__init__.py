"""What entries of the history say of a release and of people. Pure, and part of the stand-alone verifier."""
