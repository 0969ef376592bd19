//! Numbers in mxfp4: blocks of 32 four-bit floats (e2m1), two in a byte, with one power of two for each block
//! (Open Compute Project, Microscaling Formats, version 1.0).

/// What the first eight codes stand for; the other eight are these with a minus.
const VALUES: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];

/// The numbers of blocks of 16 bytes, of which `scales` has one exponent each, 127 standing for 2^0. The lower half of
/// a byte comes first.
pub(super) fn numbers(blocks: &[u8], scales: &[u8]) -> Vec<f32> {
    let mut numbers = Vec::with_capacity(2 * blocks.len());
    for (block, scale) in blocks.chunks_exact(16).zip(scales) {
        let scale = 2f64.powi(i32::from(*scale) - 127) as f32;
        let value = |code: u8| {
            let value = VALUES[usize::from(code & 7)] * scale;
            if code & 8 == 0 { value } else { -value }
        };
        numbers.extend(block.iter().flat_map(|byte| [value(byte & 15), value(byte >> 4)]));
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_halves_ones_and_their_doubles() {
        let mut block = [0; 16];
        (block[0], block[15]) = (0x71, 0xb2);
        let numbers = numbers(&block, &[128]);
        assert_eq!((numbers[0], numbers[1], numbers[30], numbers[31]), (1.0, 12.0, 2.0, -3.0));
        assert!(numbers[2..30].iter().all(|number| *number == 0.0));
    }
}
