package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// withOutages adds to what /readyz says that JumpCloud is away for a domain:
// clients are served all the same.
func (d *domains) withOutages(ready func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := ready(ctx); err != nil {
			return err
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		var away []string
		for _, name := range slices.Sorted(maps.Keys(d.connected)) {
			if out, ok := d.connected[name].peers.JumpCloud.Outage(); ok {
				away = append(away, fmt.Sprintf("%s since %s (%v)", name, out.Since.UTC().Format(time.RFC3339), out.Err))
			}
		}
		if len(away) == 0 {
			return nil
		}
		return &degraded{"degraded: binds are served and password changes recorded; they are applied when JumpCloud is back, which is away for " + strings.Join(away, "; ")}
	}
}
