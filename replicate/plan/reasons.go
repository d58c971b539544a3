package plan

import "github.com/dirgate/dirgate/store/identity"

// Reasons says of every account and group that has no link why it gets none.
// It looks at AD and the settings only: an empty reason means that nothing
// there stands against a link, and JumpCloud's side decides.
func Reasons(w World) map[identity.GUID]string {
	w.Cloud = Cloud{}
	p := newPlanner(w)
	reasons := make(map[identity.GUID]string)
	for guid, a := range p.accounts {
		if a.link == nil {
			reasons[guid] = User(p.userCase(a)).Skip
		}
	}
	for guid, g := range p.Groups {
		if _, linked := p.GroupLinks[guid]; !linked {
			reasons[guid] = Group(GroupCase{Settings: p.Settings, AD: &g, Out: p.scope.out(&g, p.scope.paired[guid])}).Skip
		}
	}
	return reasons
}
