//! SHA-256 of a stream, and of two streams at once.
//!
//! Each step of this hash needs what the step before it has made, so that a processor with instructions
//! for it waits half of the time. Where there are such instructions, two streams that have nothing to do
//! with each other are hashed in one loop, a block of each in turn, which takes hardly longer than one of
//! them. Elsewhere they are hashed one after the other.

use sha2::block_api::compress256;

/// Bytes that are taken at once.
const BLOCK: usize = 64;

type State = [u32; 8];

/// What a hash begins with: fractions of the square roots of the first primes.
const BEGINNING: State = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// The hash of a stream, as far as it has come.
#[derive(Clone, Debug)]
pub struct Sha256 {
    state: State,
    /// Bytes until now.
    length: u64,
    /// Begins with those that make no block yet.
    rest: [u8; BLOCK],
}

impl Default for Sha256 {
    fn default() -> Self {
        Self { state: BEGINNING, length: 0, rest: [0; BLOCK] }
    }
}

impl std::io::Write for Sha256 {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.update(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Sha256 {
    /// Adds bytes.
    pub fn update(&mut self, data: &[u8]) {
        let data = self.fill_up(data);
        let (blocks, rest) = data.as_chunks();
        compress256(&mut self.state, blocks);
        self.length += data.len() as u64;
        if !rest.is_empty() {
            self.rest[..rest.len()].copy_from_slice(rest);
        }
    }

    /// Adds bytes to two hashes: as `update` of each, in less time.
    pub fn update_both(one: (&mut Self, &[u8]), other: (&mut Self, &[u8])) {
        let data = (one.0.fill_up(one.1), other.0.fill_up(other.1));
        let blocks = (data.0.as_chunks().0, data.1.as_chunks().0);
        let count = blocks.0.len().min(blocks.1.len());
        compress_both(
            (&mut one.0.state, &blocks.0[..count]),
            (&mut other.0.state, &blocks.1[..count]),
        );
        let done = count * BLOCK;
        for (hash, data) in [(one.0, data.0), (other.0, data.1)] {
            hash.length += done as u64;
            hash.update(&data[done..]);
        }
    }

    /// Returns the hash of all bytes.
    pub fn finish(mut self) -> [u8; 32] {
        let bits = self.length.wrapping_mul(8);
        // A bit, zeros, and the length, so that they fill a block.
        let mut end = [0; BLOCK];
        end[0] = 0x80;
        let length = (2 * BLOCK - 9 - self.begun()) % BLOCK + 1;
        self.update(&end[..length]);
        self.update(&bits.to_be_bytes());
        let mut hash = [0; 32];
        for (bytes, word) in hash.as_chunks_mut().0.iter_mut().zip(self.state) {
            *bytes = word.to_be_bytes();
        }
        hash
    }

    /// Returns how many bytes make no block yet.
    fn begun(&self) -> usize {
        (self.length % BLOCK as u64) as usize
    }

    /// Adds bytes to a block that was begun; returns the others.
    fn fill_up<'a>(&mut self, data: &'a [u8]) -> &'a [u8] {
        let begun = self.begun();
        if begun == 0 {
            return data;
        }
        let (taken, data) = data.split_at(data.len().min(BLOCK - begun));
        self.rest[begun..begun + taken.len()].copy_from_slice(taken);
        self.length += taken.len() as u64;
        if self.begun() == 0 && !taken.is_empty() {
            compress256(&mut self.state, &[self.rest]);
        }
        data
    }
}

type Part<'a> = (&'a mut State, &'a [[u8; BLOCK]]);

/// Takes blocks, as many of each.
fn compress_both(one: Part<'_>, other: Part<'_>) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1") {
        // SAFETY: the processor has the instructions: SSSE3 comes before SSE4.1, SSE2 with x86-64.
        return unsafe { x86::compress_both(one, other) };
    }
    compress256(one.0, one.1);
    compress256(other.0, other.1);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_blend_epi16, _mm_loadu_si128, _mm_set_epi64x,
        _mm_setzero_si128, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32,
        _mm_shuffle_epi8, _mm_shuffle_epi32, _mm_storeu_si128,
    };

    use super::{BLOCK, Part, State};

    /// What is added in the rounds: fractions of the cube roots of the first primes.
    #[rustfmt::skip]
    const ROUNDS: [[[u32; 4]; 4]; 4] = [
        [[0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5], [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
         [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3], [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174]],
        [[0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc], [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
         [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7], [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967]],
        [[0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13], [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
         [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3], [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070]],
        [[0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5], [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
         [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208], [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2]],
    ];

    /// One of the two hashes. The letters are the standard's names of its words, the highest first.
    struct Lane {
        abef: __m128i,
        cdgh: __m128i,
        /// The words of the block that the next sixteen rounds take.
        words: [__m128i; 4],
    }

    #[target_feature(enable = "sha,sse4.1,ssse3")]
    pub(super) fn compress_both(one: Part<'_>, other: Part<'_>) {
        let (mut first, mut second) = (Lane::new(one.0), Lane::new(other.0));
        for (block, other_block) in one.1.iter().zip(other.1) {
            let before = [(first.abef, first.cdgh), (second.abef, second.cdgh)];
            first.words = words(block);
            second.words = words(other_block);
            for (number, added) in ROUNDS.iter().enumerate() {
                // Written out: counting would take longer than the work itself.
                macro_rules! four_rounds {
                    ($($index:literal)*) => { $(
                        if number > 0 {
                            first.next_words::<$index>();
                            second.next_words::<$index>();
                        }
                        first.four_rounds::<$index>(&added[$index]);
                        second.four_rounds::<$index>(&added[$index]);
                    )* };
                }
                four_rounds!(0 1 2 3);
            }
            for (lane, (abef, cdgh)) in [&mut first, &mut second].into_iter().zip(before) {
                lane.abef = _mm_add_epi32(lane.abef, abef);
                lane.cdgh = _mm_add_epi32(lane.cdgh, cdgh);
            }
        }
        first.end(one.0);
        second.end(other.0);
    }

    impl Lane {
        #[target_feature(enable = "sha,sse4.1,ssse3")]
        #[inline]
        fn new(state: &State) -> Self {
            let halves: &[[u32; 4]] = state.as_chunks().0;
            let [dcba, hgfe] = [load(&halves[0]), load(&halves[1])];
            let cdab = _mm_shuffle_epi32(dcba, 0xb1);
            let efgh = _mm_shuffle_epi32(hgfe, 0x1b);
            Self {
                abef: _mm_alignr_epi8(cdab, efgh, 8),
                cdgh: _mm_blend_epi16(efgh, cdab, 0xf0),
                words: [_mm_setzero_si128(); 4],
            }
        }

        #[target_feature(enable = "sha,sse4.1,ssse3")]
        #[inline]
        fn end(self, state: &mut State) {
            let feba = _mm_shuffle_epi32(self.abef, 0x1b);
            let dchg = _mm_shuffle_epi32(self.cdgh, 0xb1);
            let (low, high) = state.split_at_mut(4);
            for (place, words) in
                [(low, _mm_blend_epi16(feba, dchg, 0xf0)), (high, _mm_alignr_epi8(dchg, feba, 8))]
            {
                // SAFETY: there are four words, wherever they lie.
                unsafe { _mm_storeu_si128(place.as_mut_ptr().cast(), words) };
            }
        }

        /// Makes the words for four rounds of those for the sixteen before.
        #[target_feature(enable = "sha,sse4.1,ssse3")]
        #[inline]
        fn next_words<const INDEX: usize>(&mut self) {
            let words = &mut self.words;
            let (a, b) = (words[INDEX], words[(INDEX + 1) % 4]);
            let (c, d) = (words[(INDEX + 2) % 4], words[(INDEX + 3) % 4]);
            let sum = _mm_add_epi32(_mm_sha256msg1_epu32(a, b), _mm_alignr_epi8(d, c, 4));
            words[INDEX] = _mm_sha256msg2_epu32(sum, d);
        }

        #[target_feature(enable = "sha,sse4.1,ssse3")]
        #[inline]
        fn four_rounds<const INDEX: usize>(&mut self, added: &[u32; 4]) {
            let words = _mm_add_epi32(self.words[INDEX], load(added));
            self.cdgh = _mm_sha256rnds2_epu32(self.cdgh, self.abef, words);
            self.abef = _mm_sha256rnds2_epu32(self.abef, self.cdgh, _mm_shuffle_epi32(words, 0x0e));
        }
    }

    /// Reads the words of a block, whose bytes are big-endian.
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    #[inline]
    fn words(block: &[u8; BLOCK]) -> [__m128i; 4] {
        let order = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
        let pieces: &[[u8; 16]] = block.as_chunks().0;
        let word = |index: usize| _mm_shuffle_epi8(load(&pieces[index]), order);
        [word(0), word(1), word(2), word(3)]
    }

    /// Reads 16 bytes.
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    #[inline]
    fn load<T, const N: usize>(from: &[T; N]) -> __m128i {
        const { assert!(size_of::<[T; N]>() == 16) };
        // SAFETY: there are 16 bytes, wherever they lie.
        unsafe { _mm_loadu_si128(from.as_ptr().cast()) }
    }
}

#[cfg(test)]
mod tests {
    use sha2::Digest as _;

    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        for piece in bytes.chunks_mut(256) {
            rustix::rand::getrandom(piece, rustix::rand::GetRandomFlags::empty()).unwrap();
        }
        bytes
    }

    fn want(data: &[u8]) -> [u8; 32] {
        sha2::Sha256::digest(data).into()
    }

    #[test]
    fn one_stream_of_every_length() {
        let data = noise(300);
        for length in 0..data.len() {
            let mut hash = Sha256::default();
            hash.update(&data[..length]);
            assert_eq!(hash.finish(), want(&data[..length]), "{length}");
        }
    }

    #[test]
    fn two_streams_in_pieces_of_any_length() {
        let data = noise(1 << 20);
        // Lengths of the pieces, at random.
        let mut lengths = noise(1 << 16).into_iter();
        let mut length = || {
            let exponent = lengths.next().unwrap() % 14;
            usize::from(lengths.next().unwrap()) << exponent >> 7
        };
        for begin in 0..8 {
            let (first, second) = (&data[begin * 999..], &data[begin * 31..data.len() / 2]);
            let (mut one, mut other) = (Sha256::default(), Sha256::default());
            let (mut of_one, mut of_other) = (0, 0);
            for _ in 0..200 {
                let (more, others) = (length(), length());
                let ends =
                    [(of_one + more).min(first.len()), (of_other + others).min(second.len())];
                Sha256::update_both(
                    (&mut one, &first[of_one..ends[0]]),
                    (&mut other, &second[of_other..ends[1]]),
                );
                [of_one, of_other] = ends;
                let next = (of_other + length() % 70).min(second.len());
                other.update(&second[of_other..next]);
                of_other = next;
            }
            assert_eq!(one.finish(), want(&first[..of_one]), "{begin}: {of_one} bytes");
            assert_eq!(other.finish(), want(&second[..of_other]), "{begin}: {of_other} bytes");
        }
    }
}
