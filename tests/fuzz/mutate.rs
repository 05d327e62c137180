//! Inputs made of others: bytes and bits changed, pieces taken away, doubled, put in from elsewhere. The same ones
//! every time. Knows nothing of what they are for.

/// Makes inputs.
pub(crate) struct Mutator {
    state: u64,
}

/// Numbers that are often just beside what a reader expects.
const NUMBERS: [u64; 12] =
    [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX >> 1, u64::MAX];

/// No input is longer.
const LONGEST: usize = 64 << 10;

impl Mutator {
    /// The inputs that follow are those of this name.
    pub(crate) fn new(name: &str) -> Mutator {
        let state = name.bytes().fold(0xcbf2_9ce4_8422_2325, |state, byte| {
            (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Mutator { state }
    }

    /// The next number below `end` (splitmix64).
    fn below(&mut self, end: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ self.state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % end.max(1) as u64) as usize
    }

    /// One of these with one to eight changes.
    pub(crate) fn mutate(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = corpus[self.below(corpus.len())].clone();
        let most = [1, 2, 4, 8][self.below(4)];
        for _ in 0..=self.below(most) {
            self.change(&mut input, corpus);
        }
        input.truncate(LONGEST);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        let end = (at + 1 + self.below(16)).min(input.len());
        match self.below(10) {
            0 | 1 if at < input.len() => input[at] ^= 1 << self.below(8),
            2 if at < input.len() => input[at] = self.below(256) as u8,
            3 if at < input.len() => input[at] = input[at].wrapping_add([1, 255, 16, 240][self.below(4)]),
            4 => drop(input.drain(at..end)),
            5 => {
                let piece = input[at..end].to_vec();
                let to = self.below(input.len() + 1);
                input.splice(to..to, piece);
            }
            6 => input.truncate(at),
            7 => {
                let number = NUMBERS[self.below(NUMBERS.len())].to_le_bytes();
                let length = [1, 2, 4, 8][self.below(4)];
                let over = (at + length).min(input.len());
                input.splice(at..over, number[..length].iter().copied());
            }
            8 => {
                let other = &corpus[self.below(corpus.len())];
                let from = self.below(other.len() + 1);
                let to = (from + self.below(64)).min(other.len());
                input.splice(at..end.max(at), other[from..to].iter().copied());
            }
            _ => {
                let byte = self.below(256) as u8;
                let times = 1 + self.below(4);
                input.splice(at..at, std::iter::repeat_n(byte, times));
            }
        }
    }
}
