package volume_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/volume"
)

func mkfs(options string) (volume.Parameters, error) {
	p, _, err := volume.ParseParameters(map[string]string{volume.KeyMkfsOptions: options})
	return p, err
}

func TestOptionsOfMkfs(t *testing.T) {
	for _, c := range []struct {
		options, kept string
		types         []volume.FSType
	}{
		{"", "", volume.FSTypes()},
		{"-m 1", "-m 1", []volume.FSType{volume.Ext4}},
		{"  -m1 -Estride=16,stripe_width=64 ", "-m 1 -E stride=16,stripe_width=64", []volume.FSType{volume.Ext4}},
		{"-O ^has_journal,metadata_csum -i 8192 -J size=4", "-O ^has_journal,metadata_csum -i 8192 -J size=4", []volume.FSType{volume.Ext4}},
		{"-L silo", "-L silo", volume.FSTypes()},
		{"-U 9a4f6c3e-0b1d-4c55-9f0a-5d2b8f7f1e11", "-U 9a4f6c3e-0b1d-4c55-9f0a-5d2b8f7f1e11", []volume.FSType{volume.Ext4}},
		{"-m bigtime=1,reflink=0 -dagcount=4,noalign", "-m bigtime=1,reflink=0 -d agcount=4,noalign", []volume.FSType{volume.XFS}},
		{"-l size=64m -i size=1024 -n size=8192", "-l size=64m -i size=1024 -n size=8192", []volume.FSType{volume.XFS}},
		{"-N 4096", "-N 4096", []volume.FSType{volume.Ext4}},
		{"-d single -m dup", "-d single -m dup", []volume.FSType{volume.Btrfs}},
		{"--features=^no-holes --csum xxhash --label=x", "--features ^no-holes --csum xxhash --label x", []volume.FSType{volume.Btrfs}},
	} {
		p, err := mkfs(c.options)
		if err != nil || p.MkfsOptions != c.kept {
			t.Errorf("%q is kept as %q, %v", c.options, p.MkfsOptions, err)
		}
		for _, fsType := range volume.FSTypes() {
			if err := p.CheckMkfs(fsType); (err == nil) != slices.Contains(c.types, fsType) || (err != nil && !volume.Is(err, volume.Invalid)) {
				t.Errorf("%q for %s: %v", c.options, fsType, err)
			}
		}
	}
}

// Each of these would make mkfs read or write something else than the device, lose the blocks of the
// image, or make no file system that can be mounted.
var dangerous = []string{
	"-d etc", "-detc", "-r etc", "-retc", "--rootdir=etc", "--rootdir etc", "--root etc", "-u etc", "--subvol etc", // reads a directory of the node
	"-p etc", "-petc", "-c options=etc", "-l hostname", "-lhostname", "-P x", // reads a file of the node
	"-z undo", "-zundo", "-d file,name=x", "-d file=1", "-d name=x", "-dname=sda", "-l file=1", "-l name=x", // writes a file
	"-J device=sda", "-Jdevice=sda", "-J size=4,device=sda", "-l logdev=sda", "-l size=4m,logdev=sda", "-l internal=0", "-r rtdev=sda", "-d rtinherit=1", // another device
	"-n", "-n -m 1", "-S", "-m 1 -S", "-N", "-O list-all", "-R list-all", "--features=list-all", "--help", "-V", "--version", // makes none
	"-O journal_dev", "-Ojournal_dev", "-O quota,+journal_dev", "-O JOURNAL_DEV", "-O FEATURE_I3", "-O incompat3", // no file system
	"-E discard", "-Ediscard", "-E stride=4,discard", "-E stride=4 -E stride=8", "-E offset=4096", "-E test_fs", // loses blocks, hides the file system
	"-t xfs", "-c", "-cc", "-F", "-f", "--force", "-q", "-K", "-D", "-j", "-v", "-M", "-o hurd", "-e panic", "-d size=1m", "-b size=512 -b size=1024",
	"-d raid1", "-d etc,single", "-m 1 -n", "-m -n", "-m=1 x", "-m", "-", "--", "--=x", "---", "-- -m", "1000", "-m 1 2", "-m 1 1000", "sda",
	"-L /etc", "-L ../x", "-T ..", "-L a/b", "-L -n", "-L", "-U 1/2", "-m;reboot", "-m $(x)", "-m \x00", "-é 1", "-m 1 -m 5", "-m1 -m5",
	"-N 5 -d agcount=4", "--label x -O quota,64bit", "--lab x", "-Lx --uuid=y -l size=4m",
	"--uuid=9a4f6c3e-0b1d-4c55-9f0a-5d2b8f7f1e11", "-n 16384 -U 9a4f6c3e-0b1d-4c55-9f0a-5d2b8f7f1e11 --csum crc32c", // two btrfs that the kernel takes for one
}

func TestDangerousOptionsOfMkfsAreRefused(t *testing.T) {
	for _, options := range append(dangerous, "-"+strings.Repeat("m", 5000), "-L "+strings.Repeat("x", 5000)+"/", "--"+strings.Repeat("é", 5000), "-O "+strings.Repeat("quota,", 1000)+"x") {
		p, err := mkfs(options)
		if !volume.Is(err, volume.Invalid) || p.MkfsOptions != "" || len(err.Error()) > 1024 || !strings.Contains(err.Error(), volume.KeyMkfsOptions) {
			t.Errorf("%.80q: %q, %v", options, p.MkfsOptions, err)
		}
		for _, fsType := range volume.FSTypes() { // as a record on the disk might have it
			if err := (volume.Parameters{MkfsOptions: options}).CheckMkfs(fsType); !volume.Is(err, volume.Invalid) && !strings.Contains(options, "-N 5 -d") {
				t.Errorf("%.80q for %s: %v", options, fsType, err)
			}
		}
	}
}

func TestAnInlineVolumeTakesNoOptionsOfMkfs(t *testing.T) {
	_, _, _, err := volume.ParseEphemeral(map[string]string{volume.KeyMkfsOptions: "-m 1"})
	if !volume.Is(err, volume.Invalid) || !strings.Contains(err.Error(), volume.KeyMkfsOptions) {
		t.Errorf("ParseEphemeral = %v", err)
	}
}

// What is let through is pairs of an option and a value that is no path and no option. The letters and
// words here are kept apart from the table on purpose.
func FuzzMkfsOptions(f *testing.F) {
	for _, seed := range append(dangerous, "-m1 -Estride=16", "-d agcount=4,noalign -m reflink=1", "--features=quota --label x") {
		f.Add(seed)
	}
	long := []string{"--label", "--nodesize", "--sectorsize", "--csum", "--checksum", "--data", "--metadata", "--features", "--runtime-features"}
	forbidden := []string{"file", "name", "logdev", "rtdev", "device", "discard", "offset", "journal_dev", "list-all", "internal", "etc"}
	f.Fuzz(func(t *testing.T, options string) {
		p, err := mkfs(options)
		args := p.MkfsArgs()
		if err != nil {
			if !volume.Is(err, volume.Invalid) || len(args) > 0 {
				t.Fatalf("%q: %q, %v", options, args, err)
			}
			return
		}
		if again, err := mkfs(p.MkfsOptions); err != nil || again != p {
			t.Fatalf("%q is kept as %q, and read back as %q, %v", options, p.MkfsOptions, again.MkfsOptions, err)
		}
		if !slices.ContainsFunc(volume.FSTypes(), func(fsType volume.FSType) bool { return p.CheckMkfs(fsType) == nil }) {
			t.Fatalf("%q is for no file system", options)
		}
		if len(args)%2 != 0 {
			t.Fatalf("%q becomes %q", options, args)
		}
		for i := 0; i < len(args); i += 2 {
			name, value := args[i], args[i+1]
			if !slices.Contains(long, name) && !(len(name) == 2 && name[0] == '-' && strings.Contains("bCEGgIiJLmNOTUdlnsR", name[1:])) {
				t.Fatalf("%q lets option %q through", options, name)
			}
			if strings.HasPrefix(value, "-") || strings.ContainsAny(value, "/;&|$`\\'\"<>*~ \t\n\x00") || value == ".." {
				t.Fatalf("%q lets value %q through", options, value)
			}
			for fsType, lists := range map[volume.FSType]string{volume.Ext4: "-E -J -O", volume.XFS: "-b -d -i -l -m -n -s", volume.Btrfs: "-d -m -O -R --data --metadata --features --runtime-features"} {
				if p.CheckMkfs(fsType) != nil || !slices.Contains(strings.Fields(lists), name) {
					continue
				}
				for part := range strings.SplitSeq(value, ",") {
					if key, _, _ := strings.Cut(part, "="); slices.Contains(forbidden, strings.ToLower(strings.Trim(key, "^+-"))) {
						t.Fatalf("%q lets %q through to %s", options, value, fsType)
					}
				}
			}
		}
	})
}
