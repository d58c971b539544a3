package e2e

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// onTerminal runs a command of the binary with a pseudo terminal for its output,
// and returns what a person would have been shown.
func (in *installation) onTerminal(args ...string) string {
	in.t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		in.t.Fatal(err)
	}
	defer master.Close()
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		in.t.Fatal("unlock the terminal:", err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		in.t.Fatal("number of the terminal:", err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		in.t.Fatal(err)
	}
	cmd := exec.CommandContext(in.t.Context(), program(in.t), append([]string{"--config", in.config}, args...)...)
	cmd.Stdout, cmd.Stderr = tty, tty
	err = cmd.Start()
	_ = tty.Close() // the command has it now
	if err != nil {
		in.t.Fatal(err)
	}
	var shown strings.Builder
	// A terminal that nobody has open any more answers EIO.
	if _, err := io.Copy(io.MultiWriter(&shown, &in.output), master); err != nil && !errors.Is(err, syscall.EIO) {
		in.t.Error("read the terminal:", err)
	}
	if err := cmd.Wait(); err != nil {
		in.t.Fatalf("dirgate %s: %v\n%s", strings.Join(args, " "), err, shown.String())
	}
	return shown.String()
}
