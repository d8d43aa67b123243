//! Whether the buffers hold what was uploaded.

use crate::workload::Workload;

/// Compares every byte that the last frames wrote. Bytes that no frame wrote are not looked at.
pub(crate) fn holds(
    workload: &Workload,
    frames: usize,
    mut read: impl FnMut(usize) -> Result<Vec<u8>, crate::Failure>,
) -> Result<bool, crate::Failure> {
    let (buffers, size) = workload.buffers;
    // `None` where nothing was written.
    let mut wanted: Vec<Vec<Option<u8>>> = vec![vec![None; size]; buffers];
    // Earlier frames wrote the same places as one of these.
    for number in frames.saturating_sub(workload.different())..frames {
        let frame = workload.frame(number);
        for upload in &frame.uploads {
            let places = &mut wanted[upload.buffer][upload.offset..upload.offset + upload.size];
            for (place, &byte) in places.iter_mut().zip(frame.bytes_of(upload)) {
                *place = Some(byte);
            }
        }
    }
    let mut right = true;
    for (buffer, wanted) in wanted.iter().enumerate() {
        let found = read(buffer)?;
        let wrong = wanted.iter().zip(&found).filter(|(w, f)| w.is_some_and(|w| w != **f)).count();
        if wrong > 0 || found.len() != size {
            eprintln!("buffer {buffer}: {wrong} bytes of {} differ", found.len());
            right = false;
        }
    }
    Ok(right)
}
