package ldapwire

// First waits until a byte has come that was not returned yet, and says which
// it is, without taking it. On a connection where a SASL security layer may
// begin it tells a message (0x30) from the length that begins a layer's buffer
// (RFC 4422 section 3.7). Errors are those of Next; the message returned last
// is not valid any more.
func (rd *Reader) First() (byte, error) {
	clear(rd.buf[rd.last:rd.r])
	rd.last = rd.r
	if rd.invalid != nil {
		return 0, rd.invalid
	}
	for rd.Buffered() == 0 {
		if err := rd.fill(0); err != nil {
			return 0, err
		}
	}
	return rd.buf[rd.r], nil
}

// TakeRest hands over what was received and not yet returned, for who goes on
// reading the source without a Reader. Afterwards the Reader holds nothing,
// and what it hands over is on no Budget.
func (rd *Reader) TakeRest() []byte {
	clear(rd.buf[:rd.r])
	rest := rd.buf[rd.r:rd.w:rd.w]
	rd.drop()
	rd.filled = false
	return rest
}
