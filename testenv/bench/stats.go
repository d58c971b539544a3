package main

import (
	"cmp"
	"slices"
	"time"
)

// spread is the median of some samples and the ends of their range.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// spreadOf of no samples is false.
func spreadOf(samples []float64) (spread, bool) {
	if len(samples) == 0 {
		return spread{}, false
	}
	s := slices.Sorted(slices.Values(samples))
	return spread{Median: median(s), Min: s[0], Max: s[len(s)-1]}, true
}

// median of sorted samples, at least one; of an even number it is the mean of
// the two in the middle.
func median(sorted []float64) float64 {
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// percentile is the smallest of the sorted samples that at least p percent of
// them do not exceed (nearest rank); 0 of none.
func percentile[T cmp.Ordered](sorted []T, p int) T {
	var zero T
	if len(sorted) == 0 {
		return zero
	}
	rank := (p*len(sorted) + 99) / 100
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// paired gives the ratios of two programs in the rounds that have both. Keys
// are rounds. A reference of 0 has no ratio.
func paired(of, to map[int]float64) []float64 {
	var ratios []float64
	for round, v := range of {
		if ref := to[round]; ref > 0 {
			ratios = append(ratios, v/ref)
		}
	}
	slices.Sort(ratios)
	return ratios
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
