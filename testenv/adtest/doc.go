// Package adtest is what an Active Directory must do for dirgate to rely on it,
// as a suite of cases over LDAPS.
//
// The same cases run against the simulator (testenv/adsim) and against a real
// domain controller (testenv/samba), and both must give the same answers: the
// simulator may not be kinder than the real thing. Where Samba is known to
// differ from Windows, which the simulator plays, a case carries Samba's
// expectation as well, with the reason; it is asserted just the same, so that a
// difference that has gone is noticed.
//
// A case states the result code and, where programs look at it, the Win32 error
// that AD's text begins with, or the reason in a refused bind. Texts beyond
// these are not compared: they differ between builds of Windows.
package adtest
