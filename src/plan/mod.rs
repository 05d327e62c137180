//! From a pipeline to what must be decided: keys, reasons, families of documents and the order of strata.
//! Pure: knows no file, no store and no clock.

pub mod explain;
pub mod family;
pub mod key;
pub mod tree;
