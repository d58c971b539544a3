package secret

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// CreateEpoch makes the key pair of the next epoch in dir and returns its
// number. An error wraps [ErrWrongKey] when the newest epoch was made with
// another master key: two would be needed from then on.
func CreateEpoch(dir string, master Bytes) (uint32, error) {
	keys, err := publicKeys(dir)
	if err != nil {
		return 0, fmt.Errorf("create epoch: %w", err)
	}
	if len(keys) == 0 {
		return 0, fmt.Errorf("create epoch: %s holds no key; run `dirgate init`, or restore the directory from its backup: %w", dir, ErrNoEpoch)
	}
	newest := keys[len(keys)-1]
	if _, err := readPrivate(dir, newest, master); err != nil {
		return 0, fmt.Errorf("create epoch: private key of epoch %d: %w", newest.epoch, err)
	}
	if err := createEpoch(dir, newest.epoch+1, master); err != nil {
		return 0, fmt.Errorf("create epoch: %w", err)
	}
	return newest.epoch + 1, nil
}

// Epochs returns the epochs whose keys are in dir, oldest first.
func Epochs(dir string) ([]uint32, error) {
	keys, err := publicKeys(dir)
	if err != nil {
		return nil, fmt.Errorf("list epochs: %w", err)
	}
	epochs := make([]uint32, len(keys))
	for i, k := range keys {
		epochs[i] = k.epoch
	}
	return epochs, nil
}

// DestroyEpoch removes the keys of an epoch for good. The private key is
// overwritten first: on a disk that writes in place nothing is left of it. A
// copy-on-write file system or a flash disk may keep an old block; it is still
// wrapped under the master key then. The newest epoch cannot be destroyed.
func DestroyEpoch(dir string, epoch uint32) error {
	keys, err := publicKeys(dir)
	if err != nil {
		return fmt.Errorf("destroy epoch %d: %w", epoch, err)
	}
	if len(keys) == 0 || epoch >= keys[len(keys)-1].epoch {
		return fmt.Errorf("destroy epoch %d: it is the newest: %w", epoch, ErrNoEpoch)
	}
	// Under another name first: cut short, a key that is half overwritten would
	// be taken for a damaged one, and nothing would start any more.
	gone := epochFile(dir, epoch, "gone")
	err = os.Rename(epochFile(dir, epoch, "key"), gone)
	if err == nil {
		err = syncDir(dir)
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = overwrite(gone)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("destroy epoch %d: %w", epoch, err)
	}
	// The public key goes last: with it the epoch is found again when this is
	// cut short.
	for _, path := range []string{gone, epochFile(dir, epoch, "pub")} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("destroy epoch %d: %w", epoch, err)
		}
		if err := syncDir(filepath.Dir(path)); err != nil {
			return fmt.Errorf("destroy epoch %d: sync key directory: %w", epoch, err)
		}
	}
	return nil
}

func overwrite(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		_, err = f.WriteAt(make([]byte, info.Size()), 0)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// Reload reads the keys in dir again: new epochs open, and those that were
// destroyed no longer do. On an error the keys stay as they were.
func (o *Opener) Reload(dir string, master Bytes) error {
	fresh, err := OpenOpener(dir, master)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.private = fresh.private
	return nil
}

// Forget drops the private key of an epoch from memory.
func (o *Opener) Forget(epoch uint32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.private, epoch)
}

// EpochOf tells which epoch a secret was sealed to; false: it is no sealed
// secret of a known format.
func EpochOf(sealed []byte) (uint32, bool) {
	if len(sealed) < headerSize || sealed[0] != sealVersion {
		return 0, false
	}
	return uint32(sealed[1])<<24 | uint32(sealed[2])<<16 | uint32(sealed[3])<<8 | uint32(sealed[4]), true
}
