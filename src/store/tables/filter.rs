//! A blocked Bloom filter: twelve bits a key, one cache line a question. Knows nothing of files.

use super::mix;

/// Bytes of a block: one cache line.
pub(super) const BLOCK: usize = 64;

/// Bits set for a key.
const PROBES: u32 = 7;

/// Bits spent on a key.
const BITS_A_KEY: u64 = 12;

/// How many blocks a filter for so many keys has.
pub(super) fn blocks_for(keys: u64) -> u64 {
    (keys * BITS_A_KEY).div_ceil(BLOCK as u64 * 8).max(1)
}

/// A filter in memory.
pub(super) struct Filter {
    bytes: Vec<u8>,
}

impl Filter {
    /// An empty filter for so many keys.
    pub(super) fn for_keys(keys: u64) -> Self {
        Filter { bytes: vec![0; blocks_for(keys) as usize * BLOCK] }
    }

    /// A filter whose blocks were read from a file.
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Self {
        Filter { bytes }
    }

    /// All blocks, one after another.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds a key.
    pub(super) fn insert(&mut self, key: u64) {
        let start = block_of(key, (self.bytes.len() / BLOCK) as u64) as usize * BLOCK;
        let block = &mut self.bytes[start..start + BLOCK];
        for bit in bits(key) {
            block[bit / 8] |= 1 << (bit % 8);
        }
    }

    /// Whether the key may be there; never false for one that is.
    pub(super) fn may_contain(&self, key: u64) -> bool {
        let start = block_of(key, (self.bytes.len() / BLOCK) as u64) as usize * BLOCK;
        block_may_contain(&self.bytes[start..start + BLOCK], key)
    }
}

/// The block that a key falls into.
pub(super) fn block_of(key: u64, blocks: u64) -> u64 {
    ((u128::from(mix(key)) * u128::from(blocks)) >> 64) as u64
}

/// Whether the key may be in this one block.
pub(super) fn block_may_contain(block: &[u8], key: u64) -> bool {
    bits(key).all(|bit| block[bit / 8] & 1 << (bit % 8) != 0)
}

/// The bits of a key in its block; independent of the block's number, which uses the high bits of one `mix`.
fn bits(key: u64) -> impl Iterator<Item = usize> {
    let hash = mix(mix(key) ^ key);
    (0..PROBES).map(move |probe| (hash >> (probe * 9)) as usize & (BLOCK * 8 - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_found_and_little_else() {
        let keys = 100_000;
        let mut filter = Filter::for_keys(keys);
        let key = |n: u64| mix(n) >> 16;
        (0..keys).for_each(|n| filter.insert(key(n)));
        assert!((0..keys).all(|n| filter.may_contain(key(n))));
        let wrong = (keys..2 * keys).filter(|n| filter.may_contain(key(*n))).count();
        assert!(wrong < 1000, "{wrong} of {keys}: more than 1 %");
    }
}
