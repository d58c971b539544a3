//go:build race

package store

// raceDetector makes opening a store many times slower.
const raceDetector = true
