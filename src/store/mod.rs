pub mod index;
pub mod tables;
