//! The C ABI of worker/text; `../rust_abi.h` is its manual. This file holds what the entry points share: owned
//! buffers, borrowed slices, and the guard that turns errors and panics into a code and a message.
mod methods;
mod python;
mod template;
mod tokenizer;

use std::panic::{catch_unwind, AssertUnwindSafe};

/// Bytes that the caller lends for one call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Slice {
    data: *const u8,
    size: usize,
}

/// Bytes that the caller owns and hands back to mg_text_buffer_free.
#[repr(C)]
pub struct Buffer {
    data: *mut u8,
    size: usize,
}

/// Token ids that the caller owns and hands back to mg_text_ids_free.
#[repr(C)]
pub struct Ids {
    data: *mut u32,
    size: usize,
}

pub const OK: i32 = 0;
pub const INVALID_ARGUMENT: i32 = 1;
pub const INTERNAL: i32 = 2;
pub const RESOURCE_EXHAUSTED: i32 = 3;

/// Why a call failed.
pub struct Failure {
    pub code: i32,
    pub message: String,
}

impl Failure {
    pub fn invalid(message: impl Into<String>) -> Failure {
        Failure { code: INVALID_ARGUMENT, message: message.into() }
    }
}

impl Slice {
    /// SAFETY: `data` points to `size` readable bytes for as long as the result is used, or `size` is 0.
    pub unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.size == 0 {
            return &[];
        }
        std::slice::from_raw_parts(self.data, self.size)
    }

    /// SAFETY: as `bytes`.
    pub unsafe fn text<'a>(self, what: &str) -> Result<&'a str, Failure> {
        std::str::from_utf8(self.bytes())
            .map_err(|e| Failure::invalid(format!("{what} is not valid UTF-8 at byte {}", e.valid_up_to())))
    }
}

impl Buffer {
    pub fn from_string(text: String) -> Buffer {
        let bytes = text.into_bytes().into_boxed_slice();
        let size = bytes.len();
        Buffer { data: Box::into_raw(bytes) as *mut u8, size }
    }
}

impl Ids {
    pub fn from_vec(ids: Vec<u32>) -> Ids {
        let ids = ids.into_boxed_slice();
        let size = ids.len();
        Ids { data: Box::into_raw(ids) as *mut u32, size }
    }
}

/// Runs `body`; its error or panic goes to `error` and the returned code.
/// SAFETY: `error` is valid for a write.
pub unsafe fn guarded(error: *mut Buffer, body: impl FnOnce() -> Result<(), Failure>) -> i32 {
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return OK,
        Ok(Err(failure)) => failure,
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            Failure { code: INTERNAL, message: format!("panic: {text}") }
        }
    };
    error.write(Buffer::from_string(failure.message));
    failure.code
}

/// SAFETY: `buffer` came from this library and was not freed, or its data is null.
#[no_mangle]
pub unsafe extern "C" fn mg_text_buffer_free(buffer: Buffer) {
    if !buffer.data.is_null() {
        drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(buffer.data, buffer.size)));
    }
}

/// SAFETY: `ids` came from this library and was not freed, or its data is null.
#[no_mangle]
pub unsafe extern "C" fn mg_text_ids_free(ids: Ids) {
    if !ids.data.is_null() {
        drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(ids.data, ids.size)));
    }
}
