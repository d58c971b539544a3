//go:build !race

package replicate

const awayAccounts = 5000
