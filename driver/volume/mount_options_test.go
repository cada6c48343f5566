package volume_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/volume"
)

// manPages are all options of the man pages that Debian 12 has: mount(8) of util-linux 2.38.1, section
// FILESYSTEM-INDEPENDENT MOUNT OPTIONS and those of its own in other sections, and ext4(5) of e2fsprogs
// 1.47.0, xfs(5) of xfsprogs 6.1.0 and btrfs(5) of btrfs-progs 6.2. Those of the xfs that the kernel has
// removed are left out of xfs(5)'s list with what it says of them.
var manPages = map[volume.FSType]string{
	"": "async atime noatime auto noauto context fscontext defcontext rootcontext defaults dev nodev diratime nodiratime dirsync exec noexec group iversion noiversion " +
		"mand nomand _netdev nofail relatime norelatime strictatime nostrictatime lazytime nolazytime suid nosuid silent loud owner remount ro rw sync user nouser users " +
		"X-anything x-anything X-mount.mkdir x-mount.mkdir X-mount.subdir nosymfollow " +
		"bind rbind move shared slave private unbindable rshared rslave rprivate runbindable loop offset sizelimit comment helper uhelper " +
		"verity.hashdevice verity.roothash verity.roothashfile verity.hashoffset verity.fecdevice verity.fecoffset verity.fecroots verity.roothashsig verity.oncorruption",
	volume.Ext4: "acl noacl bsddf minixdf check nocheck debug errors grpid bsdgroups nogrpid sysvgroups grpquota noquota quota usrquota nouid32 oldalloc orlov resgid resuid sb " +
		"user_xattr nouser_xattr journal_dev journal_path norecovery noload data data_err barrier commit jqfmt usrjquota grpjquota journal_checksum nojournal_checksum " +
		"journal_async_commit nobarrier inode_readahead_blks stripe delalloc nodelalloc max_batch_time min_batch_time journal_ioprio abort auto_da_alloc noauto_da_alloc " +
		"noinit_itable init_itable discard nodiscard block_validity noblock_validity dioread_lock dioread_nolock max_dir_size_kb i_version nombcache prjquota",
	volume.XFS: "allocsize attr2 noattr2 dax discard nodiscard grpid bsdgroups nogrpid sysvgroups filestreams ikeep noikeep inode32 inode64 largeio nolargeio logbufs logbsize " +
		"logdev rtdev noalign norecovery nouuid noquota uquota usrquota quota uqnoenforce qnoenforce gquota grpquota gqnoenforce pquota prjquota pqnoenforce sunit swidth swalloc wsync " +
		"delaylog nodelaylog ihashsize irixsgid osyncisdsync osyncisosync barrier nobarrier",
	volume.Btrfs: "acl noacl autodefrag noautodefrag barrier nobarrier check_int check_int_data check_int_print_mask clear_cache commit compress compress-force datacow nodatacow " +
		"datasum nodatasum degraded device discard nodiscard enospc_debug noenospc_debug fatal_errors flushoncommit noflushoncommit fragment nologreplay max_inline metadata_ratio " +
		"norecovery rescan_uuid_tree rescue skip_balance space_cache nospace_cache ssd ssd_spread nossd nossd_spread subvol subvolid thread_pool treelog notreelog usebackuproot " +
		"user_subvol_rm_allowed recovery inode_cache noinode_cache",
}

// The reasons why an option cannot be given.
const (
	fstab    = "is read in /etc/fstab only, and means nothing to a mount of one device"
	users    = "lets others than root mount and unmount it, and adds options of its own"
	missing  = "has mount(8) say that it mounted what it did not"
	another  = "mounts another device than the volume's, or a file system that needs one"
	elsehow  = "changes a mount that is there already, or which other mounts see this one"
	mount8   = "is acted on by mount(8) itself, as the next one of its releases may like"
	part     = "mounts another part or an older state of what is on the device than loam has looked at"
	machine  = "stops the machine, with everything else on it"
	debugger = "is for tests of the kernel"
	removed  = "has been removed from the kernel, which refuses it"
)

// leftOut says of each option of the man pages that cannot be given why not.
var leftOut = map[volume.FSType]map[string]string{
	"": {
		"auto": fstab, "noauto": fstab, "_netdev": fstab, "comment": fstab, "nofail": missing,
		"group": users, "owner": users, "user": users, "nouser": users, "users": users,
		"remount": elsehow, "bind": elsehow, "rbind": elsehow, "move": elsehow, "shared": elsehow, "slave": elsehow, "private": elsehow, "unbindable": elsehow,
		"rshared": elsehow, "rslave": elsehow, "rprivate": elsehow, "runbindable": elsehow,
		"loop": another, "offset": another, "sizelimit": another,
		"X-anything": mount8, "x-anything": mount8, "X-mount.mkdir": mount8, "x-mount.mkdir": mount8, "X-mount.subdir": part, "helper": mount8, "uhelper": mount8,
		"verity.hashdevice": another, "verity.roothash": another, "verity.roothashfile": another, "verity.hashoffset": another, "verity.fecdevice": another,
		"verity.fecoffset": another, "verity.fecroots": another, "verity.roothashsig": another, "verity.oncorruption": another,
	},
	volume.Ext4: {"sb": part, "journal_dev": another, "journal_path": another, "abort": debugger},
	volume.XFS: {
		"logdev": another, "rtdev": another,
		"delaylog": removed, "nodelaylog": removed, "ihashsize": removed, "irixsgid": removed, "osyncisdsync": removed, "osyncisosync": removed, "barrier": removed, "nobarrier": removed,
	},
	volume.Btrfs: {
		"device": another, "degraded": another, "subvol": part, "subvolid": part, "fatal_errors": machine, "fragment": debugger,
		"check_int": debugger, "check_int_data": debugger, "check_int_print_mask": debugger, "recovery": removed, "inode_cache": removed, "noinode_cache": removed,
	},
}

// newer are options of the kernel's documentation that the man pages lack.
var newer = map[volume.FSType]string{
	volume.Ext4: "dax inlinecrypt mb_optimize_scan no_mbcache no_prefetch_block_bitmaps nodioread_nolock prefetch_block_bitmaps",
	volume.XFS:  "lifetime nolifetime max_open_zones max_atomic_write",
}

func TestEachOptionOfTheManPagesCanBeGivenOrIsLeftOutForAReason(t *testing.T) {
	for fsType, page := range manPages {
		allowed, all := volume.MountOptions(fsType), strings.Fields(page)
		for _, name := range all {
			reason := leftOut[fsType][name]
			if may := slices.Contains(allowed, name); may == (reason != "") {
				t.Errorf("%q, option %s: it may be given: %t; the reason why it cannot: %q", fsType, name, may, reason)
			}
		}
		for _, name := range allowed {
			if !slices.Contains(all, name) && !slices.Contains(strings.Fields(newer[fsType]), name) {
				t.Errorf("%q, option %s may be given, and no documentation has it", fsType, name)
			}
		}
		for name := range leftOut[fsType] {
			if !slices.Contains(all, name) {
				t.Errorf("%q, option %s is left out, and no man page has it", fsType, name)
			}
		}
		if len(slices.Compact(slices.Clone(allowed))) != len(allowed) {
			t.Errorf("%q: an option is there twice in %q", fsType, allowed)
		}
	}
}

func TestMountOptions(t *testing.T) {
	all := volume.FSTypes()
	for _, c := range []struct {
		options []string
		types   []volume.FSType
	}{
		{nil, all},
		{[]string{"noatime", "nodiratime", "nosuid", "nodev", "noexec", "sync", "lazytime"}, all},
		{[]string{"defaults", "ro"}, all},
		{[]string{"ro", "discard=async"}, []volume.FSType{volume.Btrfs}},
		{[]string{`context="system_u:object_r:container_file_t:s0:c1,c2"`, "noatime"}, all},
		{[]string{"fscontext=system_u:object_r:fs_t:s0", `rootcontext="u:r:t:s0-s0:c0.c1023"`, `defcontext=u:r:t`}, all},
		{[]string{"data=writeback", "errors=continue", "commit=60", "barrier=0"}, []volume.FSType{volume.Ext4}},
		{[]string{"errors=remount-ro", "init_itable", "usrjquota=aquota.user", "jqfmt=vfsv1"}, []volume.FSType{volume.Ext4}},
		{[]string{"commit=60"}, []volume.FSType{volume.Ext4, volume.Btrfs}},
		{[]string{"allocsize=64k", "logbsize=262144", "logbufs=8", "nouuid"}, []volume.FSType{volume.XFS}},
		{[]string{"compress=zstd:3", "space_cache=v2", "ssd"}, []volume.FSType{volume.Btrfs}},
		{[]string{"compress-force=zlib:9", "compress", "discard", "rescue=all"}, []volume.FSType{volume.Btrfs}},
		{[]string{"noatime", "noatime"}, all},
		{[]string{"prjquota"}, []volume.FSType{volume.Ext4, volume.XFS}},
	} {
		if err := volume.CheckMountOptions(c.options, ""); err != nil {
			t.Errorf("%q: %v", c.options, err)
		}
		for _, fsType := range all {
			if err := volume.CheckMountOptions(c.options, fsType); (err == nil) != slices.Contains(c.types, fsType) || err != nil && !volume.Is(err, volume.Invalid) {
				t.Errorf("%q for %s: %v", c.options, fsType, err)
			}
		}
	}
}

// Each of these would mount something else or elsewhere, has mount(8) do something beside, or can be read
// in more than one way.
var refusedMountOptions = []string{
	"errors=continue,loop", "commit=5,ro", "commit=5,rshared", "noatime,loop", "errors=continue,", ",noatime", "commit=5,x-systemd.automount", "compress=zstd,subvol=x",
	`errors="continue,loop"`, `errors=continue","loop`, `commit="5,ro"`, `usrjquota="a,loop"`, `context="a,b",loop`, `context="a",loop="b"`, `context="a,b""c,loop"`, `context="a,b`, `context=a,b`,
	`context=a"b,loop"`, `context="a\",loop,\"b"`, `context=""`, `context=`, `context`, `context="a b"`, "context=\"a\n\"", `noatime"`, `"noatime"`, `"no"atime`, `rootcontext=@target`,
	"", " ", "a b", " noatime", "noatime ", "noatime\n", "noatime\x00", "a;b", "-o", "-", "--bind", "=", "=ro", "ro=", "ro=1", "ro=vfs", "rw=recursive", "noatime=0", "no", "nono",
	"RO", "Ro", "rO", "rо", "bind", "rbind", "move", "remount", "loop", "loop=/dev/sda", "offset=4096", "sizelimit=1", "encryption=x", "helper=x", "uhelper=x", "shared", "rshared", "private",
	"x-systemd.automount", "X-mount.mkdir", "X-mount.subdir=a", "x-", "X-", "nofail", "_netdev", "user", "users", "owner", "comment=x", "verity.roothash=aa",
	"device=/dev/sda", "logdev=/dev/sda", "rtdev=/dev/sda", "journal_path=/dev/sda", "journal_dev=2049", "subvol=/x", "subvolid=5", "degraded", "sb=32768",
	"errors=panic", "fatal_errors=panic", "abort", "errors", "errors=", "errors=Continue", "commit", "commit=", "commit=-1", "commit=5k", "commit=0x5", "commit=99999999999",
	"logbufs=9", "logbufs=1", "allocsize=64kk", "usrjquota=/etc/passwd", "usrjquota=..", "usrjquota=a/b", "grpjquota=", "data=x", "dax=x", "compress=gzip", "compress=zstd:", "rescue=x", "space_cache=v3",
	"résgid=1", "umask=0", "uid=0", "check=strict", "auto", strings.Repeat("a", 5000), "commit=" + strings.Repeat("1", 5000),
}

func TestWhatIsNoOptionOfThisFileSystemIsRefused(t *testing.T) {
	for _, option := range refusedMountOptions {
		for _, fsType := range append(volume.FSTypes(), "") {
			err := volume.CheckMountOptions([]string{option}, fsType)
			if !volume.Is(err, volume.Invalid) || !strings.Contains(err.Error(), "mount option") || len(err.Error()) > 1024 {
				t.Errorf("%.80q for %q: %v", option, fsType, err)
			}
		}
	}
}

func TestOptionsThatDoNotGoTogetherAreRefused(t *testing.T) {
	for _, options := range [][]string{
		{"ro", "rw"}, {"rw", "noatime", "ro"}, {"errors=continue", "errors=remount-ro"}, {"commit=5", "commit=6"}, {"atime", "noatime"}, {"nosuid", "suid"}, {"sync", "async"},
		{"discard=async", "nodiscard"}, {"barrier=1", "nobarrier"}, {`context="a,b"`, "context=a"}, {"silent", "loud"}, {"discard", "discard=async"},
		{"nouuid", "data=journal"}, {"data=journal", "nouuid"}, {"compress=zstd", "nouuid"},
	} {
		for _, fsType := range append(volume.FSTypes(), "") {
			if err := volume.CheckMountOptions(options, fsType); !volume.Is(err, volume.Invalid) {
				t.Errorf("%q for %q: %v", options, fsType, err)
			}
		}
	}
}

func TestAMessageOnAMountOptionNamesItAndNotItsValue(t *testing.T) {
	for _, option := range []string{"commit=hush", "errors=hush", "subvol=hush", "unknown=hush", "context=\"hush hush\"", "noatime,password=hush", "noatime=hush"} {
		for _, fsType := range append(volume.FSTypes(), "") {
			err := volume.CheckMountOptions([]string{option}, fsType)
			name := option[:strings.IndexAny(option, "=,")]
			if err == nil || strings.Contains(err.Error(), "hush") || !strings.Contains(err.Error(), `"`+name+`"`) {
				t.Errorf("%q for %q: %v", option, fsType, err)
			}
		}
	}
	if err := volume.CheckMountOptions([]string{"errors=continue,loop"}, volume.Ext4); !strings.Contains(err.Error(), "element of its own") {
		t.Error(err)
	}
}

// splitOptions parts options as mount(8) does: at commas outside double quotation marks (libmount,
// ul_optstr_next).
func splitOptions(text string) (all []string) {
	quoted, from := false, 0
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '"':
			quoted = !quoted
		case text[i] == ',' && !quoted:
			all, from = append(all, text[from:i]), i+1
		}
	}
	return append(all, text[from:])
}

// Whatever is let through is, once joined and parted again, what was checked; a file system that parts it at
// all commas finds nothing else either, but in the contexts that are for SELinux only.
func FuzzMountOptions(f *testing.F) {
	for _, option := range refusedMountOptions {
		f.Add(option, "noatime", "ro")
	}
	f.Add(`context="system_u:object_r:container_file_t:s0:c1,c2"`, "errors=continue", "commit=5")
	f.Add("compress=zstd:3", `rootcontext="a,b"`, "discard=async")
	f.Add("allocsize=64k", `fscontext=a:b`, "nouuid")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		given := []string{a, b, c}
		for _, fsType := range append(volume.FSTypes(), "") {
			err := volume.CheckMountOptions(given, fsType)
			if err != nil {
				if !volume.Is(err, volume.Invalid) || len(err.Error()) > 2048 {
					t.Fatalf("%q for %q: %v", given, fsType, err)
				}
				continue
			}
			joined := strings.Join(given, ",")
			if parted := splitOptions(joined); !slices.Equal(parted, given) {
				t.Fatalf("%q for %q are parted as %q", given, fsType, parted)
			}
			if strings.ContainsAny(joined, " \t\n\x00\\'`$;|&<>*?(){}[]/@!#~") {
				t.Fatalf("%q for %q were accepted", given, fsType)
			}
			for _, option := range given {
				name, _, _ := strings.Cut(option, "=")
				if strings.ContainsAny(option, `",`) && !slices.Contains([]string{"context", "fscontext", "defcontext", "rootcontext"}, name) {
					t.Fatalf("%q for %q were accepted", given, fsType)
				}
				if fsType != "" && !slices.Contains(append(volume.MountOptions(""), volume.MountOptions(fsType)...), name) {
					t.Fatalf("%q for %q was accepted", option, fsType)
				}
			}
			access := volume.Access{MountOptions: given, Mode: volume.SingleNodeWriter}
			if access.ReadOnly() != slices.Contains(splitOptions(joined), "ro") {
				t.Fatalf("%q is read-only: %t", given, access.ReadOnly())
			}
		}
	})
}
