// Package browser drives a real Chromium in tests, headless, by the DevTools
// protocol over a pipe: no port is opened, and the browser ends with the pipe.
//
// It speaks the protocol itself, in a few dozen lines, because it needs a dozen
// calls of it: the generated bindings that a library brings take longer to
// compile than all of this module.
//
// Input goes through the browser's own queue of keys and clicks, so that a test
// does what a person does: focus moves, forms are validated, pages are loaded.
//
// Protocol: https://chromedevtools.github.io/devtools-protocol/
package browser
