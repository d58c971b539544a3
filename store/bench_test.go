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
	for _, writers := range []int{1, 32} {
		b.Run(map[int]string{1: "1-writer", 32: "32-writers"}[writers], func(b *testing.B) {
			f := &fixture{keys: newKeys(b), dir: b.TempDir()}
			var commits atomic.Int64
			st, err := open(f.options(), func(commit func(*badger.Txn) error) func(*badger.Txn) error {
				return func(txn *badger.Txn) error { commits.Add(1); return commit(txn) }
			})
			ok(b, err)
			password := secret.New([]byte("a password of some length"))
			var group sync.WaitGroup
			var left atomic.Int64
			left.Store(int64(b.N))
			commits.Store(0)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range writers {
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
