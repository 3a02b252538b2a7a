//! What goes wrong behind the host's back, and when the host hears of it.
//!
//! Natively an error comes with the call that causes it. In a browser it comes later, so everything runs inside an error
//! scope there, and whoever reads asks the scope before it believes what was read.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use ::wgpu::{CompilationMessage, CompilationMessageType, ErrorFilter, ErrorScopeGuard, ShaderModule};

use super::prelude::Module;

/// What happened, if anything did.
#[derive(Clone, Default)]
pub(super) struct Failure(Arc<Mutex<Option<Fault>>>);

#[derive(Clone)]
pub(super) struct Fault {
    pub what: String,
    pub out_of_memory: bool,
    pub lost: bool,
}

impl From<::wgpu::Error> for Fault {
    fn from(e: ::wgpu::Error) -> Fault {
        let out_of_memory = matches!(e, ::wgpu::Error::OutOfMemory { .. });
        Fault { what: one_line(&e), out_of_memory, lost: false }
    }
}

impl Failure {
    /// The adapter is gone: the cause of whatever else went wrong, even if that was noticed before.
    pub fn lost(&self, what: String) {
        *self.0.lock().unwrap_or_else(|e| e.into_inner()) =
            Some(Fault { what, out_of_memory: false, lost: true });
    }

    /// The first fault is the cause of the later ones.
    pub fn set(&self, fault: Fault) {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert(fault);
    }

    pub fn get(&self) -> Option<Fault> {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    pub fn reword(&self, reword: impl FnOnce(&str) -> String) {
        if let Some(fault) = &mut *self.0.lock().unwrap_or_else(|e| e.into_inner()) {
            fault.what = reword(&fault.what);
        }
    }

    pub fn clear(&self) {
        *self.0.lock().unwrap_or_else(|e| e.into_inner()) = None;
    }
}

/// A shader that was handed to the compiler.
#[derive(Clone)]
pub(super) struct Compiled(Rc<Shader>);

struct Shader {
    text: Module,
    shader: ShaderModule,
    /// What the compiler said, once it was asked.
    errors: RefCell<Option<Vec<CompilationMessage>>>,
}

impl Compiled {
    pub fn new(text: Module, shader: ShaderModule) -> Compiled {
        Compiled(Rc::new(Shader { text, shader, errors: RefCell::default() }))
    }

    pub fn text(&self) -> &Module {
        &self.0.text
    }

    /// What is wrong with it. The compiler is asked once: Chromium does not answer when it is asked again.
    pub async fn errors(&self) -> Vec<CompilationMessage> {
        if let Some(known) = &*self.0.errors.borrow() {
            return known.clone();
        }
        let mut said = self.0.shader.get_compilation_info().await.messages;
        said.retain(|message| message.message_type == CompilationMessageType::Error);
        self.0.errors.borrow_mut().insert(said).clone()
    }
}

/// What a browser has not answered yet.
#[derive(Default)]
pub(super) struct Later {
    /// Popped in the reverse order.
    scopes: RefCell<Vec<ErrorScopeGuard>>,
    /// Shaders since the scopes were opened: where one is refused, it can say in which line.
    shaders: RefCell<Vec<Compiled>>,
}

impl Later {
    /// From now on errors are kept.
    pub fn begin(&self, device: &::wgpu::Device) {
        if cfg!(target_arch = "wasm32") {
            let filters = [ErrorFilter::OutOfMemory, ErrorFilter::Validation];
            *self.scopes.borrow_mut() = filters.map(|filter| device.push_error_scope(filter)).into();
        }
    }

    pub fn compiled(&self, shader: &Compiled) {
        if cfg!(target_arch = "wasm32") {
            self.shaders.borrow_mut().push(shader.clone());
        }
    }

    /// What went wrong since [`begin`](Self::begin), which is then called again.
    pub async fn settle(&self, device: &::wgpu::Device, failed: &Failure) {
        let (scopes, shaders) = (self.scopes.take(), self.shaders.take());
        if scopes.is_empty() {
            return;
        }
        let answers: Vec<_> = scopes.into_iter().rev().map(ErrorScopeGuard::pop).collect();
        self.begin(device);
        for answer in answers {
            if let Some(e) = answer.await {
                let fault = Fault::from(e);
                match refused(&shaders).await {
                    Some(what) => failed.set(Fault { what, ..fault }),
                    None => failed.set(fault),
                }
            }
        }
    }
}

impl Drop for Later {
    fn drop(&mut self) {
        let scopes = self.scopes.get_mut();
        while scopes.pop().is_some() {}
    }
}

/// The first error in a shader, with the file and the line that it is in.
async fn refused(shaders: &[Compiled]) -> Option<String> {
    for shader in shaders {
        if let Some(error) = shader.errors().await.into_iter().next() {
            let place = error.location.map_or(String::new(), |at| {
                shader.text().located(&format!("wgsl:{}:{}: ", at.line_number, at.line_position))
            });
            return Some(one_line(&format!("{place}{}", error.message)));
        }
    }
    None
}

/// A message of wgpu's, which are paragraphs, in a line.
pub(super) fn one_line(message: &impl std::fmt::Display) -> String {
    let message = message.to_string();
    let lines: Vec<_> = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(" ")
}
