package store

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/dirgate/dirgate/store/identity"
)

// TestL3_PowerLoss copies the files after each acknowledgement, and opens the
// copy: with all that was synced, the mark among it; and with the mark as it
// was before, as after a power cut between the two syncs of a commit. Nothing
// acknowledged is missing, and nothing is taken for damage.
func TestL3_PowerLoss(t *testing.T) {
	f := newStore(t)
	var seqs []identity.Seq
	before := filepath.Join(t.TempDir(), "before")
	for i := range byte(6) {
		f.copyMark(t, before) // the mark as it was before the next commit
		seqs = append(seqs, f.pend(t, i, fmt.Sprint("password ", i)))
		for name, mark := range map[string]string{"all synced": f.dir, "the mark not synced": before} {
			g := &fixture{keys: f.keys, dir: filepath.Join(t.TempDir(), "copy")}
			copySparse(t, f.dir, g.dir)
			(&fixture{dir: mark}).copyMark(t, g.dir)
			g.reopen(t)
			g.verified(t)
			for _, seq := range seqs {
				if got := g.status(t, seq); got != identity.StatusPending {
					t.Errorf("%s: change %d of %d is %s", name, seq, len(seqs), got)
				}
			}
			ok(t, g.Close())
		}
	}
}
