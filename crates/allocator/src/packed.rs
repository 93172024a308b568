//! Numbers of a few bits each.

use std::num::NonZeroUsize;

/// So many words are made room for at a time: those who have this are many.
const GROWTH: usize = 8;

/// A sequence of numbers that take equally many bits, fewer than 64.
#[derive(Debug, Clone, Default)]
pub(crate) struct Packed {
    words: Vec<u64>,
    /// Bits of each; None: all of them are 0, and take none.
    width: Option<NonZeroUsize>,
    len: usize,
}

/// Bits that it takes to write a number.
pub(crate) fn bits_of(number: u64) -> usize {
    (u64::BITS - number.leading_zeros()) as usize
}

impl Packed {
    /// Of these, none of which takes more than `width` bits.
    pub(crate) fn new(width: usize, numbers: impl ExactSizeIterator<Item = u64>) -> Self {
        let len = numbers.len();
        let words = vec![0; (len * width).div_ceil(64)];
        let mut packed = Self { words, width: NonZeroUsize::new(width), len };
        numbers.enumerate().for_each(|(at, number)| packed.set(at, number));
        packed
    }

    pub(crate) fn get(&self, at: usize) -> u64 {
        let Some(width) = self.width.map(NonZeroUsize::get) else { return 0 };
        let (word, shift) = (at * width / 64, at * width % 64);
        let mut number = self.words[word] >> shift;
        if shift + width > 64 {
            number |= self.words[word + 1] << (64 - shift);
        }
        number & mask(width)
    }

    pub(crate) fn set(&mut self, at: usize, number: u64) {
        let Some(width) = self.width.map(NonZeroUsize::get) else { return };
        let (word, shift) = (at * width / 64, at * width % 64);
        let all = &mut self.words[word];
        *all = *all & !(mask(width) << shift) | number << shift;
        if shift + width > 64 {
            let rest = 64 - shift;
            let all = &mut self.words[word + 1];
            *all = *all & !(mask(width) >> rest) | number >> rest;
        }
    }

    /// Puts a number before that at `at`, or at the end.
    pub(crate) fn insert(&mut self, at: usize, number: u64) {
        self.len += 1;
        let Some(width) = self.width.map(NonZeroUsize::get) else { return };
        let needed = (self.len * width).div_ceil(64);
        if needed > self.words.capacity() {
            self.words.reserve_exact(GROWTH);
        }
        self.words.resize(needed, 0);
        let (first, shift) = (at * width / 64, at * width % 64);
        let stays = self.words[first] & mask(shift);
        self.words[first] &= !mask(shift);
        for word in (first + 1..needed).rev() {
            self.words[word] = self.words[word] << width | self.words[word - 1] >> (64 - width);
        }
        self.words[first] = self.words[first] << width | stays;
        self.set(at, number);
    }

    /// Takes the number at `at` out.
    pub(crate) fn remove(&mut self, at: usize) {
        self.len -= 1;
        let Some(width) = self.width.map(NonZeroUsize::get) else { return };
        let (first, shift) = (at * width / 64, at * width % 64);
        let stays = self.words[first] & mask(shift);
        for word in first..self.words.len() {
            let next = self.words.get(word + 1).copied().unwrap_or(0);
            self.words[word] = self.words[word] >> width | next << (64 - width);
        }
        self.words[first] = self.words[first] & !mask(shift) | stays;
        self.words.truncate((self.len * width).div_ceil(64));
    }

    /// Bytes on the heap.
    pub(crate) fn bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }
}

/// The lowest bits; fewer than 64.
fn mask(bits: usize) -> u64 {
    (1 << bits) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Rng;

    /// As a plain vector does it, for every width and in any order.
    #[test]
    fn numbers_come_out_as_they_went_in() {
        for width in 0..=48 {
            let mut rng = Rng::new(width as u64);
            let mut draw = || rng.next_u64() & mask(width);
            let mut plain: Vec<u64> = (0..draw().min(40)).map(|_| draw()).collect();
            let mut packed = Packed::new(width, plain.clone().into_iter());
            for _ in 0..200 {
                let at = usize::try_from(draw()).unwrap_or(0) % (plain.len() + 1);
                let number = draw();
                match number % 4 {
                    0 if at < plain.len() => {
                        plain[at] = number;
                        packed.set(at, number);
                    }
                    1 if at < plain.len() => {
                        plain.remove(at);
                        packed.remove(at);
                    }
                    _ => {
                        plain.insert(at, number);
                        packed.insert(at, number);
                    }
                }
            }
            let found: Vec<u64> = (0..plain.len()).map(|at| packed.get(at)).collect();
            assert_eq!(found, plain, "{width} bits");
        }
    }
}
