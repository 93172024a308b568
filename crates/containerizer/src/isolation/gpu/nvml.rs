//! What NVIDIA's management library tells of this machine. The library comes with the driver, so it is loaded when it is
//! asked for.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::path::Path;

/// Longest version of a driver or name of a device, as the library wants it.
const VERSION_MAX: usize = 96;

/// The machine's GPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Version of the driver.
    pub(super) version: String,
    /// Minor numbers of the devices, in the library's order.
    pub(super) minors: Vec<u32>,
    /// What the devices are called wherever they are, in the same order.
    pub(super) uuids: Vec<String>,
}

type Device = *mut c_void;

/// Asks the library.
pub(super) fn find(library: &Path) -> Result<Found, String> {
    let library = Library::open(library)?;
    library.call::<unsafe extern "C" fn() -> c_int>(c"nvmlInit_v2", |init| {
        // SAFETY: the function takes nothing.
        unsafe { init() }
    })?;
    let found = library.read();
    let _ = library.call::<unsafe extern "C" fn() -> c_int>(c"nvmlShutdown", |end| {
        // SAFETY: the function takes nothing.
        unsafe { end() }
    });
    found
}

/// A loaded library. It stays: others may have taken it too.
struct Library(*mut c_void);

impl Library {
    fn open(path: &Path) -> Result<Self, String> {
        let text = path.display().to_string();
        let name = CString::new(text.as_bytes()).map_err(|e| format!("'{text}': {e}"))?;
        // SAFETY: the name is terminated. What the library does when it is loaded is the driver's business.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if handle.is_null() {
            // SAFETY: the text is terminated, and is copied before anything else is loaded.
            let error = unsafe { CStr::from_ptr(libc::dlerror()) };
            return Err(format!("NVIDIA's driver is not there: {}", error.to_string_lossy()));
        }
        Ok(Self(handle))
    }

    /// Calls a function that answers with 0 when all is well.
    fn call<F: Copy>(&self, name: &CStr, call: impl FnOnce(F) -> c_int) -> Result<(), String> {
        let shown = name.to_string_lossy();
        // SAFETY: the library is loaded and the name terminated.
        let symbol = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        if symbol.is_null() {
            return Err(format!("NVIDIA's library has no '{shown}'"));
        }
        assert_eq!(size_of::<F>(), size_of::<*mut c_void>(), "a pointer to a function");
        // SAFETY: callers name the type that the library's documentation gives for the name.
        let function = unsafe { std::mem::transmute_copy::<*mut c_void, F>(&symbol) };
        match call(function) {
            0 => Ok(()),
            code => Err(format!("NVIDIA's library answers '{shown}' with error {code}")),
        }
    }

    fn read(&self) -> Result<Found, String> {
        let mut text = [0_u8; VERSION_MAX];
        type Version = unsafe extern "C" fn(*mut c_char, c_uint) -> c_int;
        self.call::<Version>(c"nvmlSystemGetDriverVersion", |version| {
            // SAFETY: the buffer lives, and its length is given.
            unsafe { version(text.as_mut_ptr().cast(), VERSION_MAX as c_uint) }
        })?;
        let version = CStr::from_bytes_until_nul(&text).map_err(|e| e.to_string())?;
        let mut count: c_uint = 0;
        type Count = unsafe extern "C" fn(*mut c_uint) -> c_int;
        self.call::<Count>(c"nvmlDeviceGetCount_v2", |get| {
            // SAFETY: the number lives through the call.
            unsafe { get(&raw mut count) }
        })?;
        let devices = (0..count).map(|index| self.device(index)).collect::<Result<Vec<_>, _>>()?;
        let (minors, uuids) = devices.into_iter().unzip();
        Ok(Found { version: version.to_string_lossy().into_owned(), minors, uuids })
    }

    fn device(&self, index: c_uint) -> Result<(u32, String), String> {
        let mut device: Device = std::ptr::null_mut();
        type Handle = unsafe extern "C" fn(c_uint, *mut Device) -> c_int;
        self.call::<Handle>(c"nvmlDeviceGetHandleByIndex_v2", |get| {
            // SAFETY: the pointer lives through the call.
            unsafe { get(index, &raw mut device) }
        })?;
        let mut minor: c_uint = 0;
        type Minor = unsafe extern "C" fn(Device, *mut c_uint) -> c_int;
        self.call::<Minor>(c"nvmlDeviceGetMinorNumber", |get| {
            // SAFETY: the device is one that the library gave; the number lives through the call.
            unsafe { get(device, &raw mut minor) }
        })?;
        let mut text = [0_u8; VERSION_MAX];
        type Uuid = unsafe extern "C" fn(Device, *mut c_char, c_uint) -> c_int;
        self.call::<Uuid>(c"nvmlDeviceGetUUID", |get| {
            // SAFETY: the device is one that the library gave; the buffer lives, and its length is given.
            unsafe { get(device, text.as_mut_ptr().cast(), VERSION_MAX as c_uint) }
        })?;
        let uuid = CStr::from_bytes_until_nul(&text).map_err(|e| e.to_string())?;
        Ok((minor, uuid.to_string_lossy().into_owned()))
    }
}
