package store

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/secret"
)

// BenchmarkAppendIntent measures what a password change waits for: sealing, a
// transaction and its sync. Put TMPDIR on the disk that is meant; on tmpfs a
// sync costs nothing.
func BenchmarkAppendIntent(b *testing.B) {
	for _, bench := range []struct {
		name    string
		writers int
		mark    bool
	}{
		{"1-writer", 1, true}, {"1-writer-without-mark", 1, false},
		{"32-writers", 32, true}, {"32-writers-without-mark", 32, false},
	} {
		b.Run(bench.name, func(b *testing.B) {
			f := &fixture{keys: newKeys(b), dir: b.TempDir()}
			var commits atomic.Int64
			st, err := open(f.options(), func(commit func(*badger.Txn) error) func(*badger.Txn) error {
				return func(txn *badger.Txn) error { commits.Add(1); return commit(txn) }
			})
			ok(b, err)
			if !bench.mark { // to tell what it costs
				ok(b, st.markFile.close())
				st.markFile = nil
			}
			password := secret.New([]byte("a password of some length"))
			var group sync.WaitGroup
			var left atomic.Int64
			left.Store(int64(b.N))
			commits.Store(0)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range bench.writers {
				group.Go(func() {
					for left.Add(-1) >= 0 {
						if _, err := st.AppendIntent(context.Background(), change(byte(i)), password); err != nil {
							b.Error(err)
						}
					}
				})
			}
			group.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/float64(commits.Load()), "appends/sync")
			ok(b, st.Close())
		})
	}
}
