//! What a browser tells and wgpu does not pass on.

use js_sys::{Function, Promise, Reflect, global};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

/// What the browser says of the adapter that it would give: `intel xe-lpg`, say.
pub(super) async fn adapter() -> String {
    ask().await.unwrap_or_default()
}

async fn ask() -> Option<String> {
    let get = |from: &JsValue, name: &str| Reflect::get(from, &name.into()).ok();
    let gpu = get(&get(&global(), "navigator")?, "gpu")?;
    let request: Function = get(&gpu, "requestAdapter")?.dyn_into().ok()?;
    let adapter: Promise = request.call0(&gpu).ok()?.dyn_into().ok()?;
    let info = get(&JsFuture::from(adapter).await.ok()?, "info")?;
    let words =
        ["vendor", "architecture", "device"].map(|name| get(&info, name).and_then(|word| word.as_string()));
    let words: Vec<String> = words.into_iter().flatten().filter(|word| !word.is_empty()).collect();
    (!words.is_empty()).then(|| words.join(" "))
}
