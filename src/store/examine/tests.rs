//! What is damaged on disk is found, said and set aside.
