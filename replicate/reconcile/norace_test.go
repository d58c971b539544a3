//go:build !race

package reconcile

const histories = 12
