//! Files of the UI itself: a style sheet, a few scripts, an icon. They are part of the program.

use std::sync::LazyLock;

/// A file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asset {
    /// Its name.
    pub name: &'static str,
    /// Its media type.
    pub media_type: &'static str,
    /// What is in it.
    pub text: &'static str,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

const fn asset(name: &'static str, media_type: &'static str, text: &'static str) -> Asset {
    Asset { name, media_type, text }
}

/// All of them.
pub const ASSETS: &[Asset] = &[
    asset("app.css", "text/css; charset=utf-8", include_str!("../assets/app.css")),
    asset("icon.svg", "image/svg+xml", include_str!("../assets/icon.svg")),
    asset("theme.js", SCRIPT, include_str!("../assets/theme.js")),
    asset("app.js", SCRIPT, include_str!("../assets/app.js")),
    asset("live.js", SCRIPT, include_str!("../assets/live.js")),
    asset("morph.js", SCRIPT, include_str!("../assets/morph.js")),
    asset("keys.js", SCRIPT, include_str!("../assets/keys.js")),
    asset("follow.js", SCRIPT, include_str!("../assets/follow.js")),
    asset("old.js", SCRIPT, include_str!("../assets/old.js")),
];

pub(crate) const LOGO: &str = include_str!("../assets/icon.svg");
pub(crate) const MOON: &str = "<svg viewBox=\"0 0 16 16\" width=\"16\" height=\"16\" aria-hidden=\"true\"><path fill=\"currentColor\" d=\"M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1Zm0 1.5v11a5.5 5.5 0 0 1 0-11Z\"/></svg>";

/// Changes with what is in the files, so that browsers may keep them for ever.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    // FNV-1a, 64 bits.
    let bytes = ASSETS.iter().flat_map(|asset| asset.text.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
});

/// The version of all files together, as addresses have it.
#[must_use]
pub fn version() -> &'static str {
    &VERSION
}

/// The address of a file.
pub(crate) fn href(name: &str) -> String {
    format!("/ui/assets/{name}?v={}", version())
}

/// A file by its name. Scripts name each other in this version, so that old and new ones are never mixed.
#[must_use]
pub fn find(name: &str) -> Option<(Asset, String)> {
    let asset = ASSETS.iter().find(|asset| asset.name == name)?;
    let text = match asset.media_type == SCRIPT {
        true => asset.text.replace(".js\";", &format!(".js?v={}\";", version())),
        false => asset.text.to_owned(),
    };
    Some((*asset, text))
}
