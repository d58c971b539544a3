package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// rightUser refuses to work as root in a folder of another user: what root
// writes there, that user's daemon cannot open any more. A folder that does
// not exist is nobody's.
func rightUser(dir string, euid int) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || euid != 0 || stat.Uid == 0 {
		return nil
	}
	owner := strconv.FormatUint(uint64(stat.Uid), 10)
	if u, err := user.LookupId(owner); err == nil {
		owner = u.Username
	} else {
		owner = "'#" + owner + "'" // how sudo takes a number, quoted for the shell
	}
	return fmt.Errorf("%s belongs to another user, and this process runs as root; run it as that user: sudo -u %s dirgate COMMAND", dir, owner)
}
