package ad

import "testing"

// BenchmarkSnapshot reads 10,000 users in groups of the simulator's, and says
// what 1,000 of them take. Both ends of the connection run in this process.
func BenchmarkSnapshot(b *testing.B) {
	const users = 10_000
	d := simulated(b)
	d.addUsers("many", users)
	w := d.world(b)
	for _, method := range []Method{MethodUSN, MethodDirSync} {
		b.Run(string(method), func(b *testing.B) {
			r := w.newReader(method, func(c *ReaderConfig) { c.PageSize = 500 })
			for b.Loop() {
				s, err := r.Snapshot(b.Context())
				if err != nil || len(s.Users) < users {
					b.Fatalf("%d users, %v", len(s.Users), err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N)/(users/1000), "ms/1000users")
		})
	}
	b.Run("no changes", func(b *testing.B) {
		m := w.mirror(w.newReader(MethodDirSync))
		for b.Loop() {
			if _, err := m.update(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
