package samba

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// cacheDir is where provisioned domains and locks are kept: the user's cache, or
// a folder of the user's among the temporary ones where there is no home.
func cacheDir() (string, error) {
	if dir, err := os.UserCacheDir(); err == nil {
		dir = filepath.Join(dir, "dirgate")
		if os.MkdirAll(dir, 0o700) == nil {
			return dir, nil
		}
	}
	dir := filepath.Join(os.TempDir(), "dirgate-cache-"+strconv.Itoa(os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	return dir, unix.Access(dir, unix.W_OK)
}

// lockFile takes an exclusive lock that ends with the process at the latest.
// Without wait it returns [errLocked] at once when another has it.
func lockFile(path string, wait bool) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	how := unix.LOCK_EX
	if !wait {
		how |= unix.LOCK_NB
	}
	for {
		err = unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err == nil {
		return f, nil
	}
	_ = f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, errLocked
	}
	return nil, fmt.Errorf("lock %s: %w", path, err)
}

var errLocked = errors.New("locked by another process")

// provisioned returns the folder of a provisioned domain, which it makes the
// first time. Processes that come at the same time wait for the first.
func provisioned() (dir string, err error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	hash, err := recipeHash()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(cache, "samba-"+hash)
	lock, err := lockFile(dir+".lock", true)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	// Built aside and renamed: a folder of that name is always complete.
	fresh := dir + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return "", err
	}
	if err := os.Mkdir(fresh, 0o700); err != nil {
		return "", err
	}
	if err := provision(fresh); err != nil {
		return "", err
	}
	return dir, os.Rename(fresh, dir)
}

// copyState puts a copy of the provisioned state into dir.
func copyState(from, dir string) error {
	args := []string{"-a", "--reflink=auto"}
	for _, name := range stateDirs {
		args = append(args, filepath.Join(from, name))
	}
	if out, err := exec.Command("cp", append(args, dir)...).CombinedOutput(); err != nil {
		return fmt.Errorf("copy the provisioned domain: %w: %s", err, tail(out))
	}
	return nil
}

// lease takes a loopback address that no other test has. Closing the file
// gives it back.
func lease() (address string, lock *os.File, err error) {
	cache, err := cacheDir()
	if err != nil {
		return "", nil, err
	}
	dir := filepath.Join(cache, "addresses")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, err
	}
	for n := 1; n < 1000; n++ {
		address := fmt.Sprintf("127.50.%d.%d", n/250, n%250+1)
		lock, err := lockFile(filepath.Join(dir, address), false)
		if errors.Is(err, errLocked) {
			continue
		}
		if err != nil {
			return "", nil, err
		}
		if err = probe(address); err == nil {
			return address, lock, nil
		}
		_ = lock.Close()
		if errors.Is(err, fs.ErrPermission) {
			return "", nil, err // on every other address, too
		}
		// Taken by something that knows no locks.
	}
	return "", nil, errors.New("find a loopback address whose ports 389 and 636 are free: none in 127.50.0.0/22")
}

// probe tries whether LDAP's ports can be listened on.
func probe(address string) error {
	for _, port := range []string{"389", "636"} {
		l, err := net.Listen("tcp", net.JoinHostPort(address, port))
		if err != nil {
			return err
		}
		_ = l.Close()
	}
	return nil
}
