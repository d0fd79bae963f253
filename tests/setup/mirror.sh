# Where Debian's packages come from on this machine. Sourced.

KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# The mirror that this machine's own Debian comes from.
debian_mirror() {
	apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' |
		head -n 1
}
