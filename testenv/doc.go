// Package testenv holds the rules that the whole repository keeps: who may
// import whom, how long a file may be, and which words are not committed. It
// has no code of its own; its subfolders hold the simulators, the real domain
// controller and the whole-program tests.
package testenv
