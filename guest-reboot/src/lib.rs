//! guest-reboot
