//go:build !race

package store

const raceDetector = false

const histories = 4
