package browser

import _ "embed" // the checks

//go:embed problems.js
var problems string

// Problems lists what keeps people out of the page as it stands (WCAG 2.2):
// text with less contrast than 4.5:1, or 3:1 where it is large (1.4.3); fields,
// buttons and links without a name (4.1.2), fields without a visible label
// (3.3.2); references to elements that are not there; a page without a
// language, a title, one main heading, or with headings that leave a level out
// (1.3.1, 2.4.2, 3.1.1); a tabindex that departs from the reading order (2.4.3);
// targets smaller than 24 by 24 pixels (2.5.8).
func (p *Page) Problems() (list []string) {
	p.tb.Helper()
	p.Eval(problems, &list)
	return list
}
