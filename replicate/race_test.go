//go:build race

package replicate

// awayAccounts are fewer with the race detector, under which they cost eight
// times as much.
const awayAccounts = 1000
