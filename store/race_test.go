//go:build race

package store

// raceDetector makes opening a store many times slower.
const raceDetector = true

// histories is how many random histories a test makes; make soak has all.
const histories = 2
